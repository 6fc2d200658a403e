package conf

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// AddFlags gives fs a flag for every key.
func AddFlags(fs *pflag.FlagSet) {
	for _, k := range Keys() {
		addFlag(fs, k)
		if k.Hidden {
			_ = fs.MarkHidden(k.Name) // it was added just now
		}
	}
}

func addFlag(fs *pflag.FlagSet, k Key) {
	usage := strings.TrimSuffix(k.Doc, ".")
	if usage != "" {
		usage = strings.ToLower(usage[:1]) + usage[1:]
	}
	v, err := k.parse(k.Default)
	if err != nil { // no default: the zero value
		v = nil
	}
	switch k.kind {
	case kindInt:
		n, _ := v.(int64)
		fs.Int64(k.Name, n, usage)
	case kindBool:
		b, _ := v.(bool)
		fs.Bool(k.Name, b, usage)
	case kindDuration:
		d, _ := time.ParseDuration(k.Default)
		fs.Duration(k.Name, d, usage)
	case kindList:
		fs.StringSlice(k.Name, nil, usage)
	default:
		fs.String(k.Name, k.Default, usage)
	}
}

// flagText gives the flags that the user set.
func flagText(fs *pflag.FlagSet) func(Key) (string, string, bool) {
	return func(k Key) (string, string, bool) {
		place := "--" + k.Name
		if fs == nil || !fs.Changed(k.Name) {
			return "", place, false
		}
		if k.kind == kindList {
			list, err := fs.GetStringSlice(k.Name)
			return strings.Join(list, ","), place, err == nil
		}
		return fs.Lookup(k.Name).Value.String(), place, true
	}
}
