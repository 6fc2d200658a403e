package hashring

// Ring is a State with what lookups need, computed once.
type Ring struct{ *State }
