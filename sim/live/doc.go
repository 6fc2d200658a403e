// Package live checks real nodes the way Jepsen does: it starts them as processes (or
// is pointed at a cluster), breaks what is around them, reads and writes over HTTP
// through all of them, and holds the history of every client against the promises,
// with the checkers that the simulator uses (sim/check).
//
// All traffic between the nodes that it starts passes through its own process, so
// that links can be cut, slowed and made one-way (Links). Clients talk to every node
// directly, also to one that is cut off.
package live
