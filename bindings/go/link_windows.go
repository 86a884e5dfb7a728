//go:build !revenium_pkgconfig

package revenium

// A release has the archive alone.

// #cgo LDFLAGS: -lrevenium -lbcrypt -ladvapi32 -lcrypt32 -lws2_32 -luserenv -lntdll -lkernel32
import "C"
