package policy_test

import (
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
)

func ExampleCheck() {
	p, err := policy.Parse([]byte("# ours\nappraise func=BPRM_CHECK uid>=1000\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range policy.Check(p, policy.Target{Profile: kernel.Profile{Version: kernel.Version{Major: 6, Minor: 12}}}) {
		fmt.Printf("%d:%d %s %s: %s\n", f.Line, f.Column, f.Severity, f.Rule, f.Detail)
	}
	// Output: 2:26 refuse bad-number: uid>=1000: there is no >=; uid>999 would do
}

func ExampleTarget_Rules() {
	p, err := policy.Read(strings.NewReader("appraise appraise_type=imasig func=FILE_MMAP mask=MAY_EXEC\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	rules, _ := policy.Target{}.Rules(p)
	fmt.Println(rules[0].Func, rules[0].AppraiseType)
	fmt.Println(rules[0])
	// Output:
	// MMAP_CHECK imasig
	// appraise func=MMAP_CHECK mask=MAY_EXEC appraise_type=imasig
}

func ExampleFormat() {
	root := &policy.ID{Op: '=', Number: 0}
	fmt.Print(string(policy.Format([]*policy.Rule{
		{Action: policy.Appraise, Func: policy.ModuleCheck, AppraiseType: policy.IMASig},
		{Action: policy.Measure, Func: policy.BprmCheck, FOwner: root},
	})))
	// Output:
	// appraise func=MODULE_CHECK appraise_type=imasig
	// measure func=BPRM_CHECK fowner=0
}
