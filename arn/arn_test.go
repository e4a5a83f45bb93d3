package arn

import "testing"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want ARN
		bad  bool
	}{
		{in: "arn:aws:ecr:eu-west-1:000000000012:repository/team/app", want: ARN{"ecr", "eu-west-1", "000000000012", "repository/team/app"}},
		{in: "arn:aws:iam::000000000000:root", want: ARN{"iam", "", "000000000000", "root"}},
		{in: "arn:aws:logs:eu-west-1:000000000012:log-group:/a:*", want: ARN{"logs", "eu-west-1", "000000000012", "log-group:/a:*"}},
		{in: "arn:aws:ecr:eu-west-1:12:repository/x", bad: true},
		{in: "arn:other:ecr:eu-west-1:000000000012:repository/x", bad: true},
		{in: "arn:aws:ecr:eu-west-1:000000000012:", bad: true},
		{in: "arn:aws:ecr", bad: true},
		{in: "", bad: true},
	} {
		got, err := Parse(c.in)
		if (err != nil) != c.bad {
			t.Errorf("Parse(%q): error %v, want bad=%v", c.in, err, c.bad)
			continue
		}
		if err == nil && (got != c.want || got.String() != c.in) {
			t.Errorf("Parse(%q) = %+v (%s)", c.in, got, got)
		}
	}
}

func TestRegionValid(t *testing.T) {
	for r, want := range map[Region]bool{"us-east-1": true, "local": true, "eu-central-1": true, "x": false,
		"": false, "-a": false, "a-": false, "a--b": false, "US-EAST-1": false, "us_east": false, "a/../b": false} {
		if r.Valid() != want {
			t.Errorf("Region(%q).Valid() = %v", r, !want)
		}
	}
}

func TestAccountValid(t *testing.T) {
	for a, want := range map[Account]bool{"000000000000": true, "12345678901": false, "1234567890123": false, "12345678901x": false} {
		if a.Valid() != want {
			t.Errorf("Account(%q).Valid() = %v", a, !want)
		}
	}
}

func TestRepositoryName(t *testing.T) {
	a := Repository(Place{"000000000000", "us-east-1"}, "team/app")
	if n, ok := a.RepositoryName(); !ok || n != "team/app" {
		t.Errorf("%s: %q %v", a, n, ok)
	}
	if _, ok := (ARN{Service: "kms", Resource: "repository/x"}).RepositoryName(); ok {
		t.Error("a KMS ARN is no repository")
	}
}
