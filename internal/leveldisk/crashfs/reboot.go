package crashfs

import (
	"math/rand/v2"
	"slices"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// sector is what a disk writes whole.
const sector = 512

// Reboot is the machine after the power came back: what was durable, and of the
// rest whatever the disk happened to have taken. The old FS is dead.
func (f *FS) Reboot() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = true
	next := New(f.rng.Uint64())
	next.skip, next.stale = f.skip, slices.Clone(f.stale)
	seen := map[*inode]*inode{}
	for _, name := range sortedKeys(f.dirs) {
		d := f.dirs[name]
		nd := &Dir{fs: next, names: map[string]*inode{}, meta: d.durable.meta}
		files := cloneMap(d.durable.names)
		for _, o := range survivors(f.rng, d.pending) {
			o.apply(files, &nd.meta)
		}
		for _, file := range sortedKeys(files) {
			old := files[file]
			if seen[old] == nil {
				data, written := f.settle(old, file)
				seen[old] = &inode{data: data, written: written, synced: written, size: len(data)}
			}
			nd.names[file] = seen[old]
		}
		nd.durable.names, nd.durable.meta = cloneMap(nd.names), nd.meta
		next.dirs[name] = nd
	}
	return next
}

// survivors are the directory changes that reached the disk: none, all, the first
// few, or any of them, in order.
func survivors(rng *rand.Rand, pending []dirOp) []dirOp {
	switch rng.IntN(4) {
	case 0:
		return nil
	case 1:
		return pending
	case 2:
		return pending[:rng.IntN(len(pending)+1)]
	}
	return slices.DeleteFunc(slices.Clone(pending), func(dirOp) bool { return rng.IntN(2) == 0 })
}

// settle is what is found of a file, and how much of it was written: the synced
// bytes, of the others what torn leaves, and zeros as far as the length is durable.
// A length that has changed since the last sync may be the old one or the new one.
func (f *FS) settle(n *inode, name string) (data []byte, written int) {
	data = slices.Clone(n.data[:n.synced])
	if tail := slices.Clone(n.data[n.synced:n.written]); len(tail) > 0 {
		data = append(data, f.torn(tail, n, name)...)
	}
	size := n.size
	if len(n.data) != size && f.rng.IntN(2) == 0 {
		size = len(n.data)
	}
	return append(data, make([]byte, max(0, size-len(data)))...), len(data)
}

// torn is what is left of bytes that were not synced: nothing, all, a part torn at
// any byte, some sectors with zeros between them, or a part followed by zeros or by
// the old bytes of a removed journal (the length may reach the disk before them).
func (f *FS) torn(tail []byte, n *inode, name string) []byte {
	torn := f.rng.IntN(len(tail) + 1)
	switch f.rng.IntN(6) {
	case 0:
		return nil
	case 1:
	case 2:
		for at := 0; at < len(tail); at += sector - (n.synced+at)%sector {
			if f.rng.IntN(2) == 0 {
				clear(tail[at:min(len(tail), at+sector-(n.synced+at)%sector)])
			}
		}
	case 3:
		clear(tail[torn:])
	case 4:
		if fd, ok := parse(name); ok && fd.Type == storage.TypeJournal && n.synced < len(f.stale) && n.size <= n.synced {
			copy(tail[torn:], f.stale[min(len(f.stale), n.synced+torn):])
		}
	default:
		tail = tail[:torn]
	}
	return tail
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func cloneMap(m map[string]*inode) map[string]*inode {
	out := make(map[string]*inode, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
