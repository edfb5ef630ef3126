// Package ioqueue lets many goroutines, in one process or in many, use one
// device: a queue of ops without a lock and without a server. Whoever submits
// to a queue that nobody executes becomes its executor in that very step,
// carries out what is queued, its own op and others', and hands on.
//
//	q, err := ioqueue.Open(node, "disk", nil)
//	n, err := q.Do(ctx, ioqueue.Op{Code: ioqueue.Write, Offset: 4096, Data: block}, file)
//
// Do is the whole of it where every party can reach the device. Where only one
// can, that one ranges over [Queue.Ops] or calls [Queue.Serve], and the others
// Submit and Wait. Both may be mixed. [New] makes a queue within one process, of
// the same API, whose ops are not copied.
//
// A process may die at any instant. If it was the executor, another one takes
// over; what was at the device is reported to its submitter as
// [ErrInterrupted], since nobody knows whether it was carried out, unless
// [Op.Repeatable] says that doing it twice does no harm: then it is done again.
// What a dead process had submitted is carried out. Nothing is forgotten, and
// nothing that is not repeatable is carried out twice.
package ioqueue
