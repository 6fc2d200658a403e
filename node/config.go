package node

import "time"

// Config is everything a node can be told. The same names, dotted, are the keys of
// the configuration file, the QUORATE_ environment (dots and dashes as underscores)
// and, where a flag exists, the flags. docs/CONFIG.md is generated from the tags.
type Config struct {
	Name            string        `koanf:"name" doc:"Node name, unique in the cluster." default:"n1"`
	Data            string        `koanf:"data" doc:"Data directory; formatted when missing or empty." default:"./quorate-data"`
	API             string        `koanf:"api" doc:"Address of the HTTP API and the metrics." default:"127.0.0.1:7400"`
	Gossip          string        `koanf:"gossip" doc:"Address of gossip (TCP and UDP)." default:"127.0.0.1:7401"`
	Peer            string        `koanf:"peer" doc:"Address of peer RPC and Raft." default:"127.0.0.1:7402"`
	Frames          string        `koanf:"frames" doc:"Address where clients may come in by frames, the faster way of the Go client; none: nowhere. Without frames-token-file on loopback only."`
	FramesTokenFile string        `koanf:"frames-token-file" doc:"File with the secret that frames clients must know, 16 to 4096 bytes."`
	Join            []string      `koanf:"join" doc:"Gossip addresses of other nodes; one's own is ignored, unreachable ones are retried for ever."`
	BootstrapExpect int           `koanf:"bootstrap-expect" doc:"Form a new cluster once this many nodes have answered that they have none; 0: 1 without --join, never with it." default:"0"`
	Zone            string        `koanf:"zone" doc:"Failure zone; replicas are spread over zones."`
	Partitions      int           `koanf:"partitions" doc:"Partitions of the ring, fixed when the cluster is created." default:"64"`
	Replicas        int           `koanf:"replicas" doc:"Length of a partition's replica list, fixed when the cluster is created." default:"3"`
	LogLevel        string        `koanf:"log-level" doc:"debug, info, warn or error." default:"info"`
	LogFormat       string        `koanf:"log-format" doc:"text, json, or auto: text on a terminal." default:"auto"`
	Shards          int           `koanf:"shards" doc:"Event loops of the data path; 0: one per processor." default:"0"`
	MaxValueBytes   int           `koanf:"max-value-bytes" doc:"Largest value taken, at most 4194304." default:"1048576"`
	MaxInFlight     int           `koanf:"max-in-flight" doc:"Client requests served at a time; more are shed with 503." default:"4096"`
	HintBytesMax    int64         `koanf:"hint-bytes-max" doc:"Bytes of hints kept for unreachable stores; above it the oldest are dropped as by hint-age, an eighth above it new ones are refused." default:"1073741824"`
	HintAge         time.Duration `koanf:"hint-age" doc:"Hints older than this are dropped once the other owners have what they hold, and the partition is compared in full; 0s: never." default:"3h"`
	RepairTarget    time.Duration `koanf:"repair-p99-target" doc:"Repair, hand-off and refill slow down while the p99 of client requests is above this, or a third above what it is without them." default:"25ms"`
	RepairFloor     int64         `koanf:"repair-floor" doc:"Bytes a second that they have whatever clients suffer: what bounds the time a lost copy is missing." default:"4194304"`
	RepairCeiling   int64         `koanf:"repair-ceiling" doc:"Bytes a second that they never exceed." default:"134217728"`
	ScrubEvery      time.Duration `koanf:"scrub-every" doc:"How long it takes to hold each record and hash tree against itself once." default:"24h"`
	StrongLease     time.Duration `koanf:"strong-lease" doc:"Lend a primary of strong partitions this store's promise for so long, 500ms to 2s, so that it answers reads with consistency=lease alone; after a crash of the primary failover takes so much longer. Clocks must drift apart by less than a tenth. 0s: never." default:"0s"`
	DiskReserve     int64         `koanf:"disk-reserve-bytes" doc:"Below this much free space writes are refused with 507." default:"268435456"`
	ShutdownTimeout time.Duration `koanf:"shutdown-timeout" doc:"How long a stop waits for requests in flight." default:"10s"`
	NameWait        time.Duration `koanf:"name-wait" hidden:"true" doc:"How long a newcomer waits for a taken name." default:"30s"`
	Profile         bool          `koanf:"profile" doc:"Serve /debug/pprof on the API address." default:"false"`

	// The section of the tests, see testing.go.
	TestingPeerVia     []string      `koanf:"testing.peer-via" hidden:"true" doc:"Peer addresses and what to dial instead: ADDR=VIA."`
	TestingGossipVia   []string      `koanf:"testing.gossip-via" hidden:"true" doc:"Gossip addresses and what to dial and send to instead: ADDR=VIA."`
	TestingClockOffset time.Duration `koanf:"testing.clock-offset" hidden:"true" doc:"Added to the wall clock that stamps are made from." default:"0s"`
	TestingRaftPaused  bool          `koanf:"testing.raft-paused" hidden:"true" doc:"Cut this node's Raft streams." default:"false"`
	TestingDiskFull    bool          `koanf:"testing.disk-full" hidden:"true" doc:"Behave as if free space were below the reserve." default:"false"`
	TestingRepairOff   bool          `koanf:"testing.repair-off" hidden:"true" doc:"Keep no hash trees and compare no replicas: what anti-entropy costs is measured against it." default:"false"`
	TestingSwitches    string        `koanf:"testing.switches" hidden:"true" doc:"JSON file with any of clock-offset, raft-paused, disk-full, disk-hangs, read again and again; it beats the keys."`
}
