//go:build !race

package revenium

const raced = false
