// Package sim runs a whole cluster of production cores on one goroutine: network,
// disks, clocks, liveness and ring authority are models that misbehave as real ones
// do, all drawn from one seed, so that every run can be played again bit for bit.
//
// A run has two phases. In the first, clients read and write while a nemesis breaks
// things; every step is held against the causal ground truth, which the world knows
// because it sees each dot being minted. In the second all is healed, and the cluster
// has to come to rest within a bound of virtual time: every request answered, every
// hint delivered, every key read twice from all its owners, all replicas equal,
// nothing acked lost, nothing overwritten back.
//
// What the core does is never modelled here: shards, messages and the codec are the
// ones that serve. Only what surrounds them is.
package sim
