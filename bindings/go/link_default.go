//go:build !revenium_pkgconfig && !revenium_static

package revenium

// In a checkout the library is where cargo puts it, elsewhere where `make lib` puts it, or beside the program.

// #cgo LDFLAGS: -L${SRCDIR}/../../target/debug -L${SRCDIR}/../../target/release -lrevenium
// #cgo LDFLAGS: -Wl,-rpath,${SRCDIR}/../../target/debug -Wl,-rpath,${SRCDIR}/../../target/release -Wl,-rpath,$ORIGIN
// #cgo linux,amd64 LDFLAGS: -L${SRCDIR}/lib/linux_amd64 -Wl,-rpath,${SRCDIR}/lib/linux_amd64
import "C"
