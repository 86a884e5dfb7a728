//go:build cgo

package revenium

import "encoding/json"

// Provider is who answers a call that makes no choice of its own.
type Provider int32

func (p Provider) String() string {
	switch p {
	case ProviderAnthropic:
		return "anthropic"
	case ProviderBedrock:
		return "bedrock"
	}
	return "unknown"
}

// Metering is what becomes of calls.
type Metering int32

const (
	MeteringOff       Metering = 0 // no Revenium key
	MeteringOn        Metering = 1
	MeteringSelective Metering = 2 // only in a context from WithMeter, and calls that ask for it
)

func (m Metering) String() string {
	switch m {
	case MeteringOn:
		return "on"
	case MeteringSelective:
		return "selective"
	}
	return "off, no key"
}

// State is how the library is doing. Counters run since it started.
type State struct {
	Initialized   bool
	Provider      Provider
	Metering      Metering
	CallsInFlight int64
	CallsStarted  int64
	CallsFailed   int64
	// EventsPending counts usage records that Revenium has not acknowledged yet.
	EventsPending   int64
	EventsDelivered int64
	EventsRetried   int64
	// EventsDropped counts records given up for good; 0 is the healthy value.
	EventsDropped int64
	// LastError and LastHTTPStatus are of the last failed delivery, 0 if there was none.
	LastError      Code
	LastHTTPStatus int
}

// Status looks at the library. It never waits, and does not start it.
func Status() (State, error) {
	if err := checkABI(); err != nil {
		return State{}, err
	}
	state, code := nativeStatus()
	if code < 0 {
		return state, &Error{Code: code}
	}
	return state, nil
}

// StatusJSON is the same and more: settings in force without secrets, why the provider was chosen, the last error in words.
func StatusJSON() (json.RawMessage, error) {
	if err := checkABI(); err != nil {
		return nil, err
	}
	return nativeStatusJSON()
}

// IsInitialized tells whether calls made now would be metered: the library has started, or can start from the
// environment, and has a Revenium key.
func IsInitialized() bool { return checkABI() == nil && nativeIsInitialized() }
