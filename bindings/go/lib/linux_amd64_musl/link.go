package linux_amd64_musl

// #cgo LDFLAGS: -L${SRCDIR}
// #cgo !revenium_static LDFLAGS: -Wl,-rpath,${SRCDIR}
import "C"
