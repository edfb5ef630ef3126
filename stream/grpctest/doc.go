// Package grpctest shows that gRPC runs over streams: a module of its own, so
// that users of ringbus do not get its dependencies. It has tests only.
package grpctest
