package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/berth-registry/berth/arn"
)

// Options say how files are read.
type Options struct {
	// Project is what the names of sources begin with; see SourceOf.
	Project string
	// Vars are values of variables, as text.
	Vars map[string]string
}

// File is what was read of a file.
type File struct {
	// Path is where it was found, Source its name that does not depend on where the
	// command runs.
	Path    string
	Source  string
	Modules []*Module
	// Skipped names blocks that declare no repositories.
	Skipped []string
}

// Load reads files, and those below directories whose names end in .tf, .yaml or .yml.
// Of a directory, files that declare nothing are left out. All problems are told
// together, as Problems.
func Load(paths []string, o Options) ([]*File, error) {
	l := &loader{opts: o, dirs: map[string]*directory{}, seen: map[string]bool{}}
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			l.problems.collect(Pos{File: p}, err)
		case info.IsDir():
			l.tree(p)
		default:
			l.file(p, true)
		}
	}
	l.twice()
	return l.files, l.problems.Err()
}

type loader struct {
	opts     Options
	files    []*File
	dirs     map[string]*directory
	seen     map[string]bool
	problems Problems
}

func (l *loader) tree(root string) {
	found := len(l.files)
	before := len(l.problems)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.IsDir() && suffix(p) != "":
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() { // also through links, as Kubernetes mounts files
				l.file(p, false)
			}
		}
		return nil
	})
	l.problems.collect(Pos{File: root}, err)
	if len(l.files) == found && len(l.problems) == before {
		l.problems.collect(Pos{File: root}, errors.New("no file here declares repositories"))
	}
}

// suffix is the language of a file by its name, "" for none.
func suffix(p string) string {
	switch e := filepath.Ext(p); e {
	case ".tf", ".hcl":
		return "hcl"
	case ".yaml", ".yml":
		return "yaml"
	}
	return ""
}

func (l *loader) file(path string, named bool) {
	path = filepath.Clean(path)
	if l.seen[path] {
		return
	}
	l.seen[path] = true
	f := &File{Path: path}
	src, err := readLimited(func(p string) (*os.File, error) { return os.Open(p) }, path)
	if err == nil {
		f.Source, err = SourceOf(path, l.opts.Project)
	}
	if err != nil {
		l.problems.collect(Pos{File: path}, err)
		return
	}
	r := &reader{}
	switch {
	case suffix(path) == "yaml" || suffix(path) == "" && !strings.Contains(string(src), "module "):
		err = r.yamlFile(f, src, named)
	default:
		err = l.hclFile(r, f, src)
	}
	r.problems.collect(Pos{File: path}, err)
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	l.problems = append(l.problems, r.problems...)
	for _, m := range f.Modules {
		m.Source = f.Source
		byDirectory(m, path)
	}
	if len(f.Modules) > 0 || named {
		l.files = append(l.files, f)
	}
	if len(f.Modules) == 0 && named && len(r.problems) == 0 {
		l.problems.collect(Pos{File: path}, fmt.Errorf("no block here has %s", keyRepositories))
	}
}

func readLimited(open func(string) (*os.File, error), path string) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("the file is larger than %d MiB", maxFile>>20)
	}
	return b, err
}

// hclFile reads the module blocks of a terraform file.
func (l *loader) hclFile(r *reader, f *File, src []byte) error {
	body, err := parseHCL(src, f.Path)
	if err != nil {
		return err
	}
	dir, err := l.directory(f.Path, body)
	if err != nil {
		return err
	}
	for _, b := range body.Blocks {
		if b.Type != "module" || len(b.Labels) != 1 {
			continue
		}
		keys := make([]string, 0, len(b.Body.Attributes))
		attrs := make([]*hclsyntax.Attribute, 0, len(b.Body.Attributes))
		for k, a := range b.Body.Attributes {
			keys, attrs = append(keys, k), append(attrs, a)
		}
		pos := position(b.DefRange())
		if !ours(keys) {
			f.Skipped = append(f.Skipped, fmt.Sprintf("%s: module %q declares no repositories", pos, b.Labels[0]))
			continue
		}
		slices.SortFunc(attrs, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte })
		var fields []field
		for _, a := range attrs {
			if slices.Contains(forTerraform, a.Name) {
				continue
			}
			v, err := dir.value(a.Expr)
			if err != nil {
				r.problems.collect(position(a.SrcRange), err)
				continue
			}
			fields = append(fields, field{a.Name, position(a.NameRange), v})
		}
		for _, inner := range b.Body.Blocks {
			r.fail(position(inner.DefRange()), "a block %s has no place here: write %s = …", inner.Type, inner.Type)
		}
		f.Modules = append(f.Modules, r.module(b.Labels[0], pos, fields))
	}
	return nil
}

// directory gathers the locals and variables of a file's directory.
func (l *loader) directory(path string, body *hclsyntax.Body) (*directory, error) {
	at := filepath.Dir(path)
	if d := l.dirs[at]; d != nil {
		return d, nil
	}
	abs, err := filepath.Abs(at)
	if err != nil {
		return nil, err
	}
	d := newDirectory(abs)
	d.add(body)
	others, _ := filepath.Glob(filepath.Join(at, "*.tf"))
	for _, other := range others {
		if filepath.Clean(other) == path {
			continue
		}
		if src, err := readLimited(os.Open, other); err == nil {
			if b, err := parseHCL(src, other); err == nil { // its own problems are its own
				d.add(b)
			}
		}
	}
	values, _ := filepath.Glob(filepath.Join(at, "*.auto.tfvars"))
	for _, file := range append([]string{filepath.Join(at, "terraform.tfvars")}, values...) {
		src, err := readLimited(os.Open, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := parseHCL(src, file)
		if err != nil {
			return nil, err
		}
		if err := d.set(b); err != nil {
			return nil, err
		}
	}
	for k, v := range l.opts.Vars {
		d.vars[k] = cty.StringVal(v)
	}
	d.resolve()
	l.dirs[at] = d
	return d, nil
}

// yamlFile reads blocks under module:, or one whose keys stand at the top.
func (r *reader) yamlFile(f *File, src []byte, named bool) error {
	docs, err := parseYAML(src, f.Path)
	if err != nil {
		if !named && !strings.Contains(string(src), keyRepositories) {
			return nil // of some other program
		}
		return err
	}
	for _, doc := range docs {
		if doc.kind != object {
			continue
		}
		modules := doc.get("module")
		switch {
		case modules != nil && modules.kind == object:
			for _, m := range modules.fields {
				if m.val.kind != object || !ours(m.val.keys()) {
					f.Skipped = append(f.Skipped, fmt.Sprintf("%s: module %q declares no repositories", m.pos, m.key))
					continue
				}
				f.Modules = append(f.Modules, r.module(m.key, m.pos, m.val.fields))
			}
		case ours(doc.keys()):
			label := strings.TrimSuffix(filepath.Base(f.Path), filepath.Ext(f.Path))
			fields := slices.DeleteFunc(slices.Clone(doc.fields), func(f field) bool { return f.key == "name" })
			if n := doc.get("name"); n != nil {
				label = r.str(n, "name")
			}
			f.Modules = append(f.Modules, r.module(label, doc.pos, fields))
		}
	}
	return nil
}

func (n *node) keys() []string {
	var out []string
	for _, f := range n.fields {
		out = append(out, f.key)
	}
	return out
}

// accountPath is the rule by which directories say where their files land:
// accounts/NAME/ID/… or accounts/NAME/ID/REGION/….
var accountPath = regexp.MustCompile(`(?:^|/)accounts/([^/]+)/([0-9]{12})/(?:([a-z]{2}(?:-[a-z]+)+-[0-9]+)/)?`)

// byDirectory lets the directory say what the block does not.
func byDirectory(m *Module, path string) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	found := accountPath.FindAllStringSubmatch(filepath.ToSlash(abs), -1)
	if found == nil {
		return
	}
	last := found[len(found)-1]
	if m.Account == "" || m.Account == arn.Account(last[2]) {
		m.Account, m.AccountName = arn.Account(last[2]), last[1]
	}
	if m.Region == "" {
		m.Region = arn.Region(last[3])
	}
}

// twice refuses what two blocks declare that land in the same place. Where they land is
// known only in part here; the rest is package declare's.
func (l *loader) twice() {
	labels := map[string]Pos{}
	for _, f := range l.files {
		for _, m := range f.Modules {
			k := f.Source + "\x00" + m.Name
			if first, ok := labels[k]; ok {
				l.problems = append(l.problems, Problem{m.Pos, fmt.Sprintf("module %q is written already at %s", m.Name, first)})
			}
			labels[k] = m.Pos
		}
	}
}
