package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// SourceOf names a file so that it has one name wherever a command runs, and no other
// file has it: HOST/OWNER/REPOSITORY//PATH after the address of its git repository's
// remote origin, PROJECT//PATH when a project is given, else its whole path. Two files
// with one name would take each other's declarations away.
func SourceOf(path, project string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	root, remote := repository(filepath.Dir(abs))
	if project == "" {
		project = remote
	} else if root == "" {
		if root, err = os.Getwd(); err != nil {
			return "", err
		}
	}
	if project == "" {
		return filepath.ToSlash(abs), nil
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil {
		return "", err
	}
	return project + "//" + filepath.ToSlash(rel), nil
}

// repository finds the git repository that a directory is in, and the address of its
// remote origin, without what differs between its forms.
func repository(dir string) (root, remote string) {
	for ; ; dir = filepath.Dir(dir) {
		git := filepath.Join(dir, ".git")
		if info, err := os.Stat(git); err == nil {
			if !info.IsDir() { // a worktree: the file says where its repository is
				git = linked(git)
			}
			return dir, origin(filepath.Join(git, "config"))
		}
		if dir == filepath.Dir(dir) {
			return "", ""
		}
	}
}

func linked(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	dir := strings.TrimSpace(strings.TrimPrefix(string(b), "gitdir:"))
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(file), dir)
	}
	if common, err := os.ReadFile(filepath.Join(dir, "commondir")); err == nil {
		dir = filepath.Join(dir, strings.TrimSpace(string(common)))
	}
	return dir
}

var (
	section = regexp.MustCompile(`^\s*\[(.*)\]\s*$`)
	urlLine = regexp.MustCompile(`^\s*url\s*=\s*(\S+)\s*$`)
	scheme  = regexp.MustCompile(`^[a-z+]+://`)
)

// origin reads the remote's address from a git configuration: git@HOST:PATH.git,
// https://USER@HOST/PATH and ssh://HOST/PATH are the same.
func origin(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	in := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if m := section.FindStringSubmatch(line); m != nil {
			in = m[1]
		} else if m := urlLine.FindStringSubmatch(line); m != nil && in == `remote "origin"` {
			return address(m[1])
		}
	}
	return ""
}

func address(url string) string {
	bare := scheme.ReplaceAllString(url, "")
	first, _, _ := strings.Cut(bare, "/")
	if strings.HasPrefix(url, "file:") || bare == url && !strings.Contains(first, ":") {
		return "" // a place on this machine
	}
	if bare == url { // USER@HOST:PATH
		bare = strings.Replace(bare, ":", "/", 1)
	}
	if user, rest, ok := strings.Cut(bare, "@"); ok && !strings.Contains(user, "/") {
		bare = rest
	}
	return strings.TrimSuffix(strings.TrimSuffix(bare, "/"), ".git")
}
