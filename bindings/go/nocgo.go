//go:build !cgo

package revenium

// All other files want cgo, so that without it this sentence is all that the compiler says.
var _ struct{} = "the package revenium needs cgo: install a C compiler, then build with CGO_ENABLED=1 (and CC, for another platform)"
