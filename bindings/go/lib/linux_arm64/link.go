package linux_arm64

// #cgo LDFLAGS: -L${SRCDIR}
// #cgo !revenium_static LDFLAGS: -Wl,-rpath,${SRCDIR}
import "C"
