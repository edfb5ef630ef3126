//go:build !amd64 && !arm64

package wake

// Pause tells the CPU that this is a spin loop, where it has a word for it.
func Pause() {}
