package figures

import "slices"

// Step is one phase of a round and the systems that run it, in turn.
type Step struct {
	Phase   string
	Systems []string
}

// Plan gives the steps of each round of a scene: every run that some figure needs,
// once, the overloads last.
func Plan(figs []Figure, scene int) []Step {
	var out []Step
	add := func(n Need) {
		if Scene(n.System) != scene {
			return
		}
		i := slices.IndexFunc(out, func(s Step) bool { return s.Phase == n.Phase })
		if i < 0 {
			i = len(out)
			out = append(out, Step{Phase: n.Phase})
		}
		if !slices.Contains(out[i].Systems, n.System) {
			out[i].Systems = append(out[i].Systems, n.System)
		}
	}
	var overloads []Need
	for _, f := range figs {
		for _, n := range f.Needs {
			if n.Phase == Overload1 || n.Phase == Overload2 {
				add(Saturating) // its rate is where theirs come from
				overloads = append(overloads, n)
				continue
			}
			add(n)
		}
	}
	for _, n := range overloads {
		add(n)
	}
	return out
}

// Systems lists what the steps measure, each once.
func Systems(steps []Step) []string {
	var out []string
	for _, s := range steps {
		for _, name := range s.Systems {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
