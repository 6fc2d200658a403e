package hashring

// ReplaceStore puts Store, a new store of the same node, in the place of Old, which
// is lost or damaged: in every replica list, in one entry, as building. Old is
// retired and remembers its successor; Store is registered by the same command,
// because two stores in service cannot have one node name.
//
// It compares and swaps on the identity of what is replaced, not on epochs: Boot is
// the start of Old that the proposer took for dead, and whatever lists Old has come
// into meanwhile are meant too.
//
// Refused with ErrLastFull when a partition would be left without a full owner: a
// machine that lost the mount of its disk must not make the ring forget that the
// disk is all there is.
type ReplaceStore struct {
	Old   SID    `json:"old"`
	Boot  uint64 `json:"boot"`  // registered of Old; another one is ErrStaleEpoch
	Store Store  `json:"store"` // State is ignored: up
}

// Place is one store in one partition, in a batch.
type Place struct {
	Partition uint32 `json:"partition"`
	Epoch     uint64 `json:"epoch"` // PlanEpoch that the partition has: a compare-and-swap
	SID       SID    `json:"sid"`
	Session   uint64 `json:"session,omitempty"` // Filled: the one of the stream; Grow: 0
}

// Grow appends stores, as building, to replica lists that are shorter than
// State.Replicas: all of the places or none. See PlanGrow.
type Grow struct {
	Places []Place `json:"places"` // 1..MaxPlaces, partitions ascending
}

// Filled says that building replicas are full: all of the places or none. A place's
// proof is one complete pass from a full owner, begun in this session, so after the
// stage's fence held, and after the full owners had come to agree (E13).
type Filled struct {
	Places []Place `json:"places"` // 1..MaxPlaces, partitions ascending
}

// PurgeRounds commits deletion rounds: all of them or none. Each commit is saved and
// computed anew by every node, so rounds that end together go together.
type PurgeRounds struct {
	Rounds []PurgeRound `json:"rounds"` // 1..MaxPlaces, partitions ascending, within MaxCommandBytes
}

// PurgeRound is a deletion round of one partition (PROTOCOLS.md, 2.1). Clock and time
// are joined with what there is. Refused with ErrUnsettled while an owner is building,
// down, suspect or retired.
type PurgeRound struct {
	Partition  uint32 `json:"partition"`
	Epoch      uint64 `json:"epoch"`      // PlanEpoch that the partition has
	Generation uint64 `json:"generation"` // the one this round makes: the present one + 1
	Clock      Clock  `json:"clock"`      // K, the cut
	TimeMS     int64  `json:"time_ms"`    // T, the least of the owners' clocks
	// Stores is how many stores, retired ones included, the lead knew: every one in
	// service has reported. One registered since may hold a hint that nobody counted;
	// then the round is refused. 0: not compared.
	Stores int `json:"stores,omitempty"`
}

func (c *ReplaceStore) check() error {
	if err := c.Store.checkNew(); err != nil {
		return err
	}
	switch {
	case c.Old.IsZero() || c.Old == c.Store.SID:
		return refuse(ErrInvalid, "store %s to be replaced by %s", c.Old.Short(), c.Store.SID.Short())
	case c.Boot == 0:
		return refuse(ErrInvalid, "boot counts begin at 1")
	}
	return nil
}

// checkNew holds the rules of a store that is to be registered.
func (s *Store) checkNew() error {
	if !s.Successor.IsZero() {
		return refuse(ErrInvalid, "store %s is registered with a successor", s.SID.Short())
	}
	return s.check()
}

// checkPlaces: the ascending order makes one place a partition and one form a batch.
func checkPlaces(places []Place, session bool) error {
	if len(places) < 1 || len(places) > MaxPlaces {
		return refuse(ErrInvalid, "%d places, not 1 to %d", len(places), MaxPlaces)
	}
	for i := range places {
		switch pl := &places[i]; {
		case i > 0 && places[i-1].Partition >= pl.Partition:
			return refuse(ErrInvalid, "partition %d out of order", pl.Partition)
		case (pl.Session != 0) != session:
			return refuse(ErrInvalid, "partition %d with session %d", pl.Partition, pl.Session)
		}
	}
	return nil
}

func (c *PurgeRounds) check() error {
	if len(c.Rounds) < 1 || len(c.Rounds) > MaxPlaces {
		return refuse(ErrInvalid, "%d purge rounds, not 1 to %d", len(c.Rounds), MaxPlaces)
	}
	for i := range c.Rounds {
		if i > 0 && c.Rounds[i-1].Partition >= c.Rounds[i].Partition {
			return refuse(ErrInvalid, "purge of partition %d out of order", c.Rounds[i].Partition)
		}
		if err := c.Rounds[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *PurgeRound) check() error {
	switch {
	case c.Generation == 0:
		return refuse(ErrInvalid, "purge generations begin at 1")
	case c.Stores < 0:
		return refuse(ErrInvalid, "%d stores in a purge round", c.Stores)
	case c.TimeMS < 0:
		return refuse(ErrInvalid, "purge time %d ms is negative", c.TimeMS)
	}
	return c.Clock.check()
}
