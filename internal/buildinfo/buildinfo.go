// Package buildinfo says which quorate this is.
package buildinfo

import "runtime/debug"

// Version is the semantic version of this source tree.
const Version = "0.1.0-dev"

// Revision is the commit the binary was built from, with "+dirty" behind it when the
// tree had changes; "unknown" when the build carried no version control data.
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return revision(info.Settings)
}

func revision(settings []debug.BuildSetting) string {
	rev, dirty := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if rev == "unknown" {
		return rev
	}
	return rev + dirty
}
