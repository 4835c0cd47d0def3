package finding

import "testing"

func TestAlso(t *testing.T) {
	for _, c := range []struct {
		lines []int
		want  string
	}{
		{nil, ""},
		{[]int{3, 5}, "also line 5"},
		{[]int{1, 2, 3}, "also lines 2-3"},
		{[]int{1, 3, 5, 6, 7}, "also lines 3 and 5-7"},
		{[]int{1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 28, 30}, "also lines 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25 and 3 more"},
	} {
		if got := (Finding{Lines: c.lines}).Also(); got != c.want {
			t.Errorf("%v: %q", c.lines, got)
		}
	}
}

func TestGroup(t *testing.T) {
	about := func(line int, value string) Finding {
		return New("rule", Warn, "%s of line %d is odd", value, line).At(line, 1)
	}
	whole := New("rule", Note, "no rules")
	few := Group([]Finding{about(1, "a"), about(2, "a"), whole, whole})
	if len(few) != 4 {
		t.Errorf("%+v", few)
	}
	many := Group([]Finding{about(1, "a"), about(2, "a"), about(2, "a"), about(3, "a"), about(4, "b"), whole})
	if len(many) != 3 || len(many[0].Lines) != 3 || many[0].Detail != "a of line 1 is odd" || many[1].Line != 4 || many[2].Line != 0 {
		t.Errorf("%+v", many)
	}
}

func TestSortAndCount(t *testing.T) {
	list := []Finding{New("whole", Note, "x"), New("b", Warn, "x").At(2, 1), New("a", Error, "x").At(1, 7), New("c", Warn, "x").At(2, 0)}
	if Refused(list) || !Wrong(list) || Wrong(list[:2]) {
		t.Error("an Error must be Wrong and not Refused")
	}
	Sort(list)
	got := ""
	for _, f := range list {
		got += f.Rule + " "
	}
	if got != "a c b whole " {
		t.Error(got)
	}
}
