//go:build revenium_static

package revenium

// The archive, linked into the program. Two archives written in Rust do not fit into one program.

// #cgo LDFLAGS: -L${SRCDIR}/../../target/debug -L${SRCDIR}/../../target/release
// #cgo linux,amd64 LDFLAGS: -L${SRCDIR}/lib/linux_amd64
// #cgo LDFLAGS: -l:librevenium.a -lgcc_s -lutil -lrt -lpthread -lm -ldl
import "C"
