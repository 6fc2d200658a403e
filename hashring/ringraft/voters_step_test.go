package ringraft

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/quoratedb/quorate/hashring"
)

// A store that comes back at its old address under a new id: the old id has to leave
// before the new one can enter.
func TestAWipedVoterLeavesBeforeItsSuccessorEnters(t *testing.T) {
	a, b, old, fresh := hashring.SID{1}, hashring.SID{2}, hashring.SID{3}, hashring.SID{4}
	voter := func(sid hashring.SID, addr string) raft.Server {
		return raft.Server{Suffrage: raft.Voter, ID: serverID(sid), Address: raft.ServerAddress(addr)}
	}
	at := map[hashring.SID]string{a: "a:1", b: "b:1", old: "c:1", fresh: "c:1"}
	addr := func(sid hashring.SID) string { return at[sid] }
	r := &Raft{}
	want := []hashring.SID{a, b, fresh}
	s, err := r.nextStep([]raft.Server{voter(a, "a:1"), voter(b, "b:1"), voter(old, "c:1")}, want, addr)
	if err != nil || s.kind != stepRemove || s.id != serverID(old) {
		t.Errorf("%s of %s, %v; want the old store removed", s.kind, s.id, err)
	}
	s, err = r.nextStep([]raft.Server{voter(a, "a:1"), voter(b, "b:1")}, want, addr)
	if err != nil || s.kind != stepAdd || s.id != serverID(fresh) {
		t.Errorf("%s of %s, %v; want the new store added", s.kind, s.id, err)
	}
	at[fresh] = "d:1" // elsewhere, the newcomer first, as ever
	s, err = r.nextStep([]raft.Server{voter(a, "a:1"), voter(b, "b:1"), voter(old, "c:1")}, want, addr)
	if err != nil || s.kind != stepAdd || s.id != serverID(fresh) {
		t.Errorf("%s of %s, %v; want the new store added first", s.kind, s.id, err)
	}
}
