package revenium

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestHeaderIsTheLibrarys(t *testing.T) {
	if read(t, "revenium.h") != read(t, "../../include/revenium.h") {
		t.Error("revenium.h differs from include/revenium.h: make -C bindings/go header")
	}
}

// Every function of the header is called in native.go, or has its reason here.
func TestFunctions(t *testing.T) {
	unused := map[string]string{
		"revenium_messages_create": "holds a thread while it waits",
		"revenium_messages_stream": "holds a thread while it waits",
		"revenium_messages_start":  "calls back on foreign threads",
		"revenium_scope_push":      "goroutines change threads",
		"revenium_scope_pop":       "goroutines change threads",
		"revenium_set_log":         "calls back on foreign threads",
		"revenium_result_code":     "frames carry the code",
	}
	native := read(t, "native.go")
	declared := regexp.MustCompile(`(?m)^[a-z].*?\b(revenium_\w+)\(`).FindAllStringSubmatch(read(t, "revenium.h"), -1)
	if len(declared) < 25 {
		t.Fatalf("only %d functions found in the header", len(declared))
	}
	var names []string
	for _, match := range declared {
		name := match[1]
		if strings.HasPrefix(match[0], "typedef") {
			continue
		}
		names = append(names, name)
		if called := strings.Contains(native, "C."+name+"("); called == (unused[name] != "") {
			t.Errorf("%s: called is %v, reason for not calling: %q", name, called, unused[name])
		}
	}
	for name := range unused {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not in the header", name)
		}
	}
	files, _ := os.ReadDir(".")
	for _, file := range files {
		name := file.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "link_") {
			continue
		}
		if strings.Contains(read(t, name), "import \"C\"\n") != (name == "native.go") {
			t.Errorf("%s: only native.go imports C", name)
		}
	}
}

func TestConstantsAreTheHeaders(t *testing.T) {
	numbers := map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^#define REVENIUM_(\w+) (-?\d+)$`).FindAllStringSubmatch(read(t, "revenium.h"), -1) {
		numbers[match[1]] = must(strconv.Atoi(match[2]))
	}
	source := read(t, "errors.go")
	codes := regexp.MustCompile(`(?m)^\s(Err\w+)\s+Code = (-\d+)`).FindAllStringSubmatch(source, -1)
	ours := map[int]bool{int(codeBuffer): true}
	for _, match := range codes {
		code := must(strconv.Atoi(match[2]))
		ours[code] = true
		want := "E" + strings.ToUpper(strings.TrimPrefix(match[1], "Err"))
		if got := strings.ReplaceAll(strings.TrimPrefix(Code(code).String(), "REVENIUM_"), "_", ""); got != want {
			t.Errorf("%s is %d, which is %s", match[1], code, got)
		}
	}
	found := 0
	for name, number := range numbers {
		if strings.HasPrefix(name, "E_") {
			found++
			if !ours[number] {
				t.Errorf("there is no sentinel for %s", name)
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d codes found in the header", found)
	}
	for i, name := range eventTypes[1:] {
		if numbers["EVENT_"+strings.ToUpper(name)] != i+1 {
			t.Errorf("event %s is not %d", name, i+1)
		}
	}
	for name, want := range map[string]int{
		"PROVIDER_ANTHROPIC": int(ProviderAnthropic), "PROVIDER_BEDROCK": int(ProviderBedrock), "LOG_ERROR": 1, "LOG_DEBUG": len(logLevels),
		"ABI_VERSION": ABIVersion(), "EMPTY": int(codeEmpty),
	} {
		if got, ok := numbers[name]; !ok || got != want {
			t.Errorf("%s is %d, not %d", name, got, want)
		}
	}
	version := fmt.Sprintf("%d.%d.%d", numbers["VERSION_MAJOR"], numbers["VERSION_MINOR"], numbers["VERSION_PATCH"])
	if Version() != version {
		t.Errorf("version %s, header %s", Version(), version)
	}
}

func TestAnotherABIIsRefused(t *testing.T) {
	if err := abiError(abiVersion); err != nil {
		t.Error(err)
	}
	err := abiError(abiVersion + 1)
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), fmt.Sprintf("has ABI %d (version %s)", abiVersion+1, Version())) {
		t.Error(err)
	}
}
