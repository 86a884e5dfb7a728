//go:build race

package revenium

// The race detector knows at most 8,128 goroutines at a time.
const raced = true
