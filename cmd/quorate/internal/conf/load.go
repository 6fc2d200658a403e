package conf

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/quoratedb/quorate/node"
)

// fileMax bounds a configuration file: there are some twenty keys.
const fileMax = 1 << 20

// Sources are where a configuration comes from, weakest first after the defaults.
type Sources struct {
	File  string         // YAML; "" for none
	Env   []string       // as os.Environ
	Flags *pflag.FlagSet // only what was changed counts; may be nil
}

// Loaded is a checked configuration and, by key, where each value comes from:
// "default", "file.yaml:3", "QUORATE_DATA" or "--data".
type Loaded struct {
	Config node.Config
	Origin map[string]string
	// Strangers are QUORATE_ variables that no key has; a typo must not pass unseen.
	Strangers []string
}

// provider hands koanf a map or the bytes of a file.
type provider struct {
	values map[string]any
	text   []byte
}

// Read gives the keys of a section as a map of their own, as a file does.
func (p provider) Read() (map[string]any, error) {
	out := map[string]any{}
	for name, v := range p.values {
		section, key, nested := strings.Cut(name, ".")
		if !nested {
			out[name] = v
			continue
		}
		if out[section] == nil {
			out[section] = map[string]any{}
		}
		out[section].(map[string]any)[key] = v
	}
	return out, nil
}
func (p provider) ReadBytes() ([]byte, error) { return p.text, nil }

// Load merges and checks the sources. Errors are *Error; several faults are joined.
func Load(s Sources) (*Loaded, error) {
	keys := Keys()
	k := koanf.New(".")
	out := &Loaded{Origin: map[string]string{}}
	defaults, err := textLayer(keys, out.Origin, func(key Key) (string, string, bool) { return key.Default, "default", true })
	if err != nil {
		return nil, err
	}
	if err := k.Load(provider{values: defaults}, nil); err != nil {
		return nil, err
	}
	if s.File != "" {
		if err := loadFile(k, s.File, keys, out.Origin); err != nil {
			return nil, err
		}
	}
	env := environ(s.Env)
	for _, from := range []func(Key) (string, string, bool){
		func(key Key) (string, string, bool) { v, ok := env[key.Env]; return v, key.Env, ok },
		flagText(s.Flags),
	} {
		layer, err := textLayer(keys, out.Origin, from)
		if err != nil {
			return nil, err
		}
		if err := k.Load(provider{values: layer}, nil); err != nil {
			return nil, err
		}
	}
	if err := decode(k, &out.Config); err != nil {
		return nil, err
	}
	out.Strangers = strangers(env, keys)
	return out, errors.Join(check(out), checkTesting(out, env))
}

// textLayer parses the values a source has as text. A default that is empty leaves
// its key at zero.
func textLayer(keys []Key, origin map[string]string, from func(Key) (text, place string, ok bool)) (map[string]any, error) {
	layer := map[string]any{}
	var faults []error
	for _, key := range keys {
		text, place, ok := from(key)
		if !ok {
			continue
		}
		origin[key.Name] = place
		if text == "" && key.kind != kindString && key.kind != kindList {
			if place == "default" {
				continue
			}
			faults = append(faults, &Error{Place: place, Err: fmt.Errorf("empty; want %s", wants[key.kind])})
			continue
		}
		v, err := key.parse(text)
		if err != nil {
			faults = append(faults, &Error{Place: place, Err: err})
			continue
		}
		layer[key.Name] = v
	}
	return layer, errors.Join(faults...)
}

func loadFile(k *koanf.Koanf, name string, keys []Key, origin map[string]string) error {
	info, err := os.Stat(name)
	if err != nil {
		return &Error{Place: "--config", Err: err}
	}
	if info.IsDir() || info.Size() > fileMax {
		return &Error{Place: "--config", Err: fmt.Errorf("%s is no file of at most %d bytes", name, fileMax)}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return &Error{Place: "--config", Err: err}
	}
	lines, err := checkFile(name, text, keys)
	if err != nil {
		return err
	}
	for key, line := range lines {
		origin[key] = place(name, line)
	}
	if err := k.Load(provider{text: text}, yaml.Parser()); err != nil {
		return &Error{Place: name, Err: err}
	}
	return nil
}

func decode(k *koanf.Koanf, into *node.Config) error {
	return k.UnmarshalWithConf("", into, koanf.UnmarshalConf{Tag: "koanf", FlatPaths: true, DecoderConfig: &mapstructure.DecoderConfig{
		Result: into, TagName: "koanf", ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), commaList),
	}})
}

// commaList takes a list that was written as one string apart.
func commaList(from, to reflect.Type, data any) (any, error) {
	if text, ok := data.(string); ok && from.Kind() == reflect.String && to == reflect.TypeFor[[]string]() {
		return splitList(text), nil
	}
	return data, nil
}

func environ(list []string) map[string]string {
	env := map[string]string{}
	for _, kv := range list {
		if name, value, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, EnvPrefix) {
			env[name] = value
		}
	}
	return env
}

// notKeys are QUORATE_ variables that belong to other parts: the clients' addresses,
// and the switches of the long end-to-end tests and of the testing section.
var notKeys = map[string]bool{"QUORATE_ADDRS": true, "QUORATE_E2E": true, envTesting: true}

func strangers(env map[string]string, keys []Key) []string {
	known := map[string]bool{}
	for _, k := range keys {
		known[k.Env] = true
	}
	var out []string
	for name := range env {
		if !known[name] && !notKeys[name] {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}
