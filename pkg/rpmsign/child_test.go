package rpmsign

func asChild() bool { return false }
