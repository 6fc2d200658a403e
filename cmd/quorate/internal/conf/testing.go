package conf

import (
	"errors"
	"strings"
)

// envTesting must be 1 for the keys of the testing section to be taken: a node that
// lies about its clock or its disk must not come from a forgotten line in a file.
const envTesting = EnvPrefix + "TESTING"

const testingSection = "testing."

var errTesting = errors.New("is for tests of quorate itself; " + envTesting + "=1 in the environment allows it")

// checkTesting refuses the section where nobody asked for it.
func checkTesting(l *Loaded, env map[string]string) error {
	if env[envTesting] == "1" {
		return nil
	}
	var faults []error
	for _, k := range Keys() {
		if from := l.Origin[k.Name]; strings.HasPrefix(k.Name, testingSection) && from != "default" && from != "" {
			faults = append(faults, &Error{Place: from, Key: k.Name, Err: errTesting})
		}
	}
	return errors.Join(faults...)
}
