package load

import "testing"

func TestParsePhase(t *testing.T) {
	for _, s := range []string{"load:128:80:uniform", "put:64:80:zipf", "r95:1:20:zipf", "smix:256:1024:uniform@2500", "mix:64:80:zipf@0.5"} {
		p, err := ParsePhase(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if p.String() != s {
			t.Errorf("%s came back as %s", s, p)
		}
	}
	for _, s := range []string{"", "put", "put:64:80", "put:0:80:zipf", "put:64:19:zipf", "put:64:80:normal", "r101:1:80:zipf",
		"sput:1:80:zipf", "put:64:80:zipf@", "put:64:80:zipf@-1", "load:1:80:uniform@10", "put:9999:80:zipf", "put:1:9999999:zipf"} {
		if p, err := ParsePhase(s); err == nil {
			t.Errorf("%q taken as %v", s, p)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, open := range map[string]func() (Driver, error){
		"driver":  func() (Driver, error) { return Open("gopher", []string{"127.0.0.1:1"}, nil) },
		"option":  func() (Driver, error) { return Open("http", []string{"127.0.0.1:1"}, Opts{"putt": "/%s"}) },
		"address": func() (Driver, error) { return Open("http", []string{"192.0.2.1:80"}, nil) },
		"no port": func() (Driver, error) { return Open("http", []string{"127.0.0.1"}, nil) },
		"none":    func() (Driver, error) { return Open("http", nil, nil) },
		"path":    func() (Driver, error) { return Open("http", []string{"127.0.0.1:1"}, Opts{"put": "/none"}) },
		"retry":   func() (Driver, error) { return Open("http", []string{"127.0.0.1:1"}, Opts{"retry": "-1"}) },
		"conns":   func() (Driver, error) { return Open("etcd", []string{"127.0.0.1:1"}, Opts{"conns": "x"}) },
		"wait":    func() (Driver, error) { return Open("redis", []string{"127.0.0.1:1"}, Opts{"wait": "0"}) },
	} {
		if d, err := open(); err == nil {
			d.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
