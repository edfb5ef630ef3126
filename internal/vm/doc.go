// Package vm gives a bus to virtual machines: the arguments with which QEMU shows
// its file to a guest as a PCI device, and throw-away guests that run one command.
//
// A guest boots a kernel of the host and a file system made on the spot, whose
// first process is this program itself ([Init]): it mounts what a kernel offers,
// runs the command, and speaks with the host over one serial port ([Machine]).
// Nothing of it is on disk, and it ends with the process that started it.
//
// # The link
//
// Both ends send frames: a kind, a length of two bytes, so many bytes.
//
//	host to guest   i input, q its end, s a signal's number
//	guest to host   h hello, g so much more input may come, o output, e errors,
//	                x exit status, f why there is none
//
// The host says nothing before hello: the port is a terminal that echoes until
// the guest has set it up. Of the input no more than window bytes are under
// way, fewer than the terminal keeps before it would lose some.
package vm
