package hashring

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios show into their files")

// The files under testdata/scenarios are stories of a ring. A line that begins with #
// says what the story shows, one that begins with > is an order (the orders map
// below), and what follows it is what the ring must show then. To accept a change:
//
//	go test ./hashring -run Scenarios -rewrite
//
// and read the difference: another claim needs another feature level.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(b), "\r\n", "\n")
			if !strings.HasPrefix(want, "# ") {
				t.Error("it does not begin with a sentence on what it shows")
			}
			got := play(want)
			if got == want {
				return
			}
			if !*rewrite {
				t.Fatalf("the ring shows\n%s", got)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// play carries out a script and gives it back with what was shown.
func play(script string) string {
	st := &stage{replicas: 3, level: 1, s: &State{}, down: map[SID]bool{}}
	var out strings.Builder
	for _, line := range strings.SplitAfter(script, "\n") {
		switch {
		case strings.HasPrefix(line, "#"), line == "\n" && strings.HasSuffix(out.String(), "\n"):
			out.WriteString(line)
		case strings.HasPrefix(line, "> "):
			out.WriteString(line)
			out.WriteString(st.order(strings.Fields(line[2:])))
		}
	}
	return out.String()
}

// stage is the ring of one scenario and who is down in it.
type stage struct {
	replicas int
	level    uint16 // feature level that the stores speak
	s        *State
	down     map[SID]bool
}

// orders, each with the number of words it takes at least.
var orders = map[string]struct {
	words int
	do    func(st *stage, words []string) string
}{
	"replicas":           {1, func(st *stage, w []string) string { st.replicas = number(w[0]); return "" }},
	"stores":             {1, (*stage).stores},
	"first-ring":         {1, func(st *stage, w []string) string { return st.firstRing(number(w[0])) }},
	"join":               {1, (*stage).stores}, // a store that comes after the first ring
	"ring":               {0, func(st *stage, _ []string) string { return st.s.Picture() }},
	"down":               {1, func(st *stage, w []string) string { st.down[sidOf(w[0])] = true; return "" }},
	"up":                 {1, func(st *stage, w []string) string { delete(st.down, sidOf(w[0])); return "" }},
	"set":                {2, (*stage).set},
	"bucket":             {2, (*stage).bucket},
	"preference":         {2, (*stage).preference},
	"plan-join":          {1, (*stage).planJoin},
	"plan-leave":         {1, func(st *stage, w []string) string { return st.plan(PlanLeave(st.s, sidOf(w[0]))) }},
	"voters":             {0, (*stage).voters},
	"level":              {1, (*stage).raise},
	"replace":            {2, (*stage).replace},
	"register-replacing": {2, (*stage).registerReplacing},
	"filled":             {3, (*stage).filled},
	"plan-grow":          {0, (*stage).planGrow},
	"grow":               {0, (*stage).grow},
	"purge":              {4, (*stage).purge},
	"quorum":             {2, (*stage).quorum},
	"successor":          {1, (*stage).successor},
	"strong-bucket":      {1, (*stage).strongBucket},
	"drop-bucket":        {1, (*stage).dropBucket},
	"strong":             {3, (*stage).strong},
	"strong-at":          {4, (*stage).strongAt},
	"plan-force":         {0, (*stage).planForce},
	"force":              {1, (*stage).force},
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		return -1 // the order refuses it
	}
	return n
}

func (st *stage) order(words []string) string {
	if len(words) == 0 {
		return "what?\n"
	}
	o, ok := orders[words[0]]
	if !ok || len(words)-1 < o.words {
		return "unknown order, or words missing\n"
	}
	return o.do(st, words[1:])
}

func (st *stage) apply(c Command) string {
	next, err := st.s.Apply(st.s.Version+1, c)
	if err != nil {
		return err.Error() + "\n"
	}
	st.s = next
	return ""
}

// stores registers name/zone words.
func (st *stage) stores(words []string) (out string) {
	if st.s.Version == 0 {
		c := initCommand(st.replicas)
		c.Init.Feature = st.level
		out = st.apply(c)
	}
	for _, word := range words {
		name, zone, _ := strings.Cut(word, "/")
		out += st.apply(registerCommand(st.store(name, zone)))
	}
	return out
}

func (st *stage) store(name, zone string) Store {
	s := storeOf(name, zone)
	s.FeatureMax = st.level
	return s
}

// level N: before the first store, what the cluster begins with; later every store
// starts again at it and the cluster follows.
func (st *stage) raise(words []string) (out string) {
	st.level = uint16(number(words[0]))
	if st.s.Version == 0 {
		return ""
	}
	for _, s := range st.s.Stores {
		if s.State != StoreRetired {
			s.FeatureMax, s.Boot = st.level, s.Boot+1
			out += st.apply(registerCommand(s))
		}
	}
	return out + st.apply(Command{Kind: KindSetFeature, SetFeature: &SetFeature{st.level}})
}

// replace OLD NEW: the node of OLD runs on NEW now.
func (st *stage) replace(words []string) string {
	old := Store{Node: words[0], Boot: 1}
	if i, ok := st.s.find(sidOf(words[0])); ok {
		old = st.s.Stores[i]
	}
	fresh := st.store(words[1], old.Zone)
	if i, ok := st.s.find(fresh.SID); ok {
		fresh.Boot = st.s.Stores[i].Boot
	}
	fresh.Node = old.Node
	return st.apply(Command{Kind: KindReplaceStore, ReplaceStore: &ReplaceStore{Old: sidOf(words[0]), Boot: old.Boot, Store: fresh}})
}

// register-replacing OLD NEW is how it was before feature level 3.
func (st *stage) registerReplacing(words []string) string {
	fresh := st.store(words[1], "")
	fresh.Node = words[0]
	return st.apply(Command{Kind: KindRegister, Register: &Register{Store: fresh, Replaces: sidOf(words[0])}})
}

// filled STORE SESSION PARTITION...
func (st *stage) filled(words []string) string {
	c := &Filled{}
	for _, word := range words[2:] {
		p := number(word)
		pl := Place{Partition: uint32(p), SID: sidOf(words[0]), Session: uint64(number(words[1]))}
		if p < len(st.s.Partitions) {
			pl.Epoch = st.s.Partitions[p].PlanEpoch()
		}
		c.Places = append(c.Places, pl)
	}
	return st.apply(Command{Kind: KindFilled, Filled: c})
}

func (st *stage) planGrow([]string) (out string) {
	for _, pl := range PlanGrow(st.s, st.alive) {
		out += fmt.Sprintf("p%d epoch %d: + %s\n", pl.Partition, pl.Epoch, st.s.nodeName(pl.SID))
	}
	return out
}

func (st *stage) grow([]string) string {
	return st.apply(Command{Kind: KindGrow, Grow: &Grow{PlanGrow(st.s, st.alive)}})
}

// purge PARTITION GENERATION MS ACTOR:COUNTER...
func (st *stage) purge(words []string) string {
	c := &PurgeRound{Partition: uint32(number(words[0])), Generation: uint64(number(words[1])), TimeMS: int64(number(words[2]))}
	for _, word := range words[3:] {
		actor, counter, _ := strings.Cut(word, ":")
		c.Clock = append(c.Clock, Dot{uint64(number(actor)), uint64(number(counter))})
	}
	if int(c.Partition) < len(st.s.Partitions) {
		c.Epoch = st.s.Partitions[c.Partition].PlanEpoch()
	}
	return st.apply(Command{Kind: KindPurge, Purge: &PurgeRounds{[]PurgeRound{*c}}})
}

// quorum PARTITION N
func (st *stage) quorum(words []string) string {
	p, n := uint32(number(words[0])), number(words[1])
	r := NewRing(st.s)
	read, write := r.Quorum(p, n)
	return fmt.Sprintf("full: %s; r=%d w=%d\n", st.s.names(r.Full(p, n)), read, write)
}

func (st *stage) successor(words []string) string {
	sid, ok := NewRing(st.s).Successor(sidOf(words[0]))
	return fmt.Sprintf("%s %t\n", strings.TrimRight(string(sid[:]), "\x00"), ok)
}

func (st *stage) firstRing(partitions int) string {
	out := st.apply(Command{Kind: KindFirstRing, FirstRing: &FirstRing{partitions, sids(st.s.Stores)}})
	if out != "" {
		return out
	}
	return st.s.Picture()
}

func (st *stage) set(words []string) string {
	return st.apply(Command{Kind: KindSetStoreState, SetStoreState: &SetStoreState{sidOf(words[0]), StoreState(words[1])}})
}

// bucket NAME N makes a bucket.
func (st *stage) bucket(words []string) string {
	return st.apply(Command{Kind: KindCreateBucket, CreateBucket: &Bucket{Name: words[0], N: number(words[1])}})
}

func (st *stage) alive(sid SID) bool { return !st.down[sid] }

// preference PARTITION N
func (st *stage) preference(words []string) string {
	return NewRing(st.s).PreferenceString(uint32(number(words[0])), number(words[1]), st.alive) + "\n"
}

// planJoin registers the store and plans for it.
func (st *stage) planJoin(words []string) string {
	name, _, _ := strings.Cut(words[0], "/")
	if out := st.stores(words); out != "" {
		return out
	}
	return st.plan(PlanJoin(st.s, sidOf(name)))
}

func (st *stage) plan(p Plan, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	after := *st.s
	after.Partitions = slices.Clone(st.s.Partitions)
	for i, list := range p.Lists(st.s) {
		after.Partitions[i].Replicas = list
	}
	stores := strings.Split(after.Picture(), "\n")[1 : 1+len(after.Stores)]
	return st.s.PlanPicture(p) + "then:\n" + strings.Join(stores, "\n") + "\n"
}

func (st *stage) voters([]string) string {
	return fmt.Sprintln(st.s.names(Voters(st.s, st.alive, nil)))
}

// A scenario that does not come true has to show: the player is no rubber stamp.
func TestScenariosCanFail(t *testing.T) {
	for _, script := range []string{
		"> stores a b c\n> first-ring 4\nnonsense\n",
		"> stores a\n> voters\nb\n",
		"> dance\n",
	} {
		if play(script) == script {
			t.Errorf("%q came true", script)
		}
	}
}
