package conf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// Error is a fault of the configuration with its place: a file and line, a variable or
// a flag.
type Error struct {
	Place string
	Key   string // "" when there is none
	Err   error
}

func (e *Error) Error() string {
	if e.Key == "" {
		return e.Place + ": " + e.Err.Error()
	}
	return e.Place + ": " + e.Key + ": " + e.Err.Error()
}
func (e *Error) Unwrap() error { return e.Err }

// checkFile holds a YAML document to the keys and their types, and returns the line
// of each key that it sets. koanf reads the values; it knows no lines.
func checkFile(name string, text []byte, keys []Key) (map[string]int, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		// The library's errors read "yaml: line 3: ...".
		return nil, &Error{Place: name, Err: errors.New(strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if len(doc.Content) == 0 {
		return nil, nil // an empty file sets nothing
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		if root.Tag == "!!null" {
			return nil, nil
		}
		return nil, &Error{Place: place(name, root.Line), Err: errors.New("want `key: value` lines")}
	}
	lines := map[string]int{}
	return lines, checkEntries(name, "", root, keys, lines)
}

// checkEntries checks one mapping; the keys of a section stand under its name.
func checkEntries(file, section string, m *yaml.Node, keys []Key, lines map[string]int) error {
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		name := section + key.Value
		if section == "" && value.Kind == yaml.MappingNode && isSection(name, keys) {
			if err := checkEntries(file, name+".", value, keys, lines); err != nil {
				return err
			}
			continue
		}
		err := checkEntry(name, value, keys)
		if err == nil && strings.Contains(key.Value, ".") {
			err = errors.New("stands in the file as a key of its section, not with a dot")
		}
		if err != nil {
			return &Error{Place: place(file, key.Line), Key: name, Err: err}
		}
		if first, twice := lines[name]; twice {
			return &Error{Place: place(file, key.Line), Key: name, Err: fmt.Errorf("stands already on line %d", first)}
		}
		lines[name] = key.Line
	}
	return nil
}

func isSection(name string, keys []Key) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return strings.HasPrefix(k.Name, name+".") })
}

func place(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

func checkEntry(name string, value *yaml.Node, keys []Key) error {
	for _, k := range keys {
		if k.Name == name {
			return checkType(k, value)
		}
	}
	if near := nearest(name, keys); near != "" {
		return fmt.Errorf("unknown key; did you mean %s?", near)
	}
	return errors.New("unknown key; `quorate config print` lists all")
}

func checkType(k Key, v *yaml.Node) error {
	if v.Kind == yaml.AliasNode {
		v = v.Alias
	}
	ok := false
	switch k.kind {
	case kindString:
		ok = v.Tag == "!!str"
	case kindInt:
		var n int64
		ok = v.Tag == "!!int" && v.Decode(&n) == nil
	case kindBool:
		ok = v.Tag == "!!bool"
	case kindDuration:
		_, err := time.ParseDuration(v.Value)
		ok = v.Tag == "!!str" && err == nil
	case kindList:
		ok = v.Tag == "!!str" || (v.Kind == yaml.SequenceNode && allStrings(v))
	}
	if ok {
		return nil
	}
	shown := v.Value
	if v.Kind != yaml.ScalarNode {
		shown = map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}[v.Kind]
	}
	return fmt.Errorf("want %s, got %s", wants[k.kind], shown)
}

var wants = [...]string{kindString: "a string (in quotes if it looks like something else)", kindInt: "an integer",
	kindBool: "true or false", kindDuration: `a duration such as 10s`, kindList: "a list of strings"}

func allStrings(v *yaml.Node) bool {
	for _, e := range v.Content {
		if e.Tag != "!!str" {
			return false
		}
	}
	return true
}

// nearest suggests a key for a typo: same letters without dashes, or one the other's
// beginning.
func nearest(name string, keys []Key) string {
	plain := strings.NewReplacer("-", "", "_", "", ".", "")
	got := strings.ToLower(plain.Replace(name))
	for _, k := range keys {
		want := plain.Replace(k.Name)
		if got == want || (len(got) >= 4 && (strings.HasPrefix(want, got) || strings.HasPrefix(got, want))) {
			return k.Name
		}
	}
	return ""
}
