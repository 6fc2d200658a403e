// Package conf reads the configuration of a node: default < file < environment < flag.
// The keys, their defaults and their meaning are the tags of node.Config.
package conf

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/quoratedb/quorate/node"
)

// EnvPrefix begins the name of every variable that configures a node.
const EnvPrefix = "QUORATE_"

// Key is one thing a node can be told. Hidden keys serve tests and are not documented.
type Key struct {
	Name    string // in the file, and of the flag
	Env     string
	Default string // as text; "" for none
	Doc     string
	Hidden  bool

	kind  kind
	field int
}

// Type names the kind of value for people.
func (k Key) Type() string { return k.kind.name() }

type kind uint8

const (
	kindString kind = iota
	kindInt
	kindBool
	kindDuration
	kindList
)

func (k kind) name() string {
	return [...]string{"string", "integer", "true or false", "duration", "list"}[k]
}

// Keys lists every key in the order of node.Config.
func Keys() []Key {
	t := reflect.TypeFor[node.Config]()
	keys := make([]Key, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("koanf")
		if name == "" {
			continue
		}
		keys = append(keys, Key{Name: name, Env: envName(name), Default: f.Tag.Get("default"), Doc: f.Tag.Get("doc"),
			Hidden: f.Tag.Get("hidden") == "true", kind: kindOf(f.Type), field: i})
	}
	return keys
}

func envName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(key))
}

func kindOf(t reflect.Type) kind {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return kindDuration
	case t == reflect.TypeFor[[]string]():
		return kindList
	case t.Kind() == reflect.Bool:
		return kindBool
	case t.Kind() == reflect.String:
		return kindString
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return kindInt
	}
	panic("node.Config has a field of a type that configuration does not know: " + t.String())
}

// parse reads the text of a default, a variable or a flag.
func (k Key) parse(text string) (any, error) {
	switch k.kind {
	case kindInt:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	case kindBool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b, nil
		}
	case kindDuration:
		if d, err := time.ParseDuration(text); err == nil {
			return d.String(), nil
		}
	case kindList:
		return splitList(text), nil
	default:
		return text, nil
	}
	return nil, fmt.Errorf("%q is no %s", text, k.Type())
}

func splitList(text string) []string {
	out := []string{}
	for _, s := range strings.Split(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// format is the text of a value as config print shows it.
func (k Key) format(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case []string:
		return strings.Join(x, ",")
	case time.Duration:
		return x.String()
	default:
		return fmt.Sprint(x)
	}
}
