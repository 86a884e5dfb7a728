module bench

go 1.23

require github.com/librevenium/librevenium/bindings/go v0.0.0

replace github.com/librevenium/librevenium/bindings/go => ../../../bindings/go
