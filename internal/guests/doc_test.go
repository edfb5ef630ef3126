//go:build !race

// Package guests tests the bus between kernels: on guests that are booted for
// it, each with a node in it, and processes of the host. The parties of a test are
// functions of this test binary, which is also the program that runs in the
// guests; [place] is where one of them is.
//
// It takes QEMU and a kernel image, which make setup gets; without hardware that
// helps, QEMU emulates.
package guests
