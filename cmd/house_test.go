// Package cmd holds the commands in its sub-folders, and the test of the rules that the whole module keeps: which package
// may import which, that all that is exported is documented, and that nothing grows without limit. The rules are
// explained in CONTRIBUTING.md.
package cmd

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// Limits of size. They guard the tails: most files and functions are far smaller.
const (
	maxFileLines     = 500
	maxFuncLines     = 100
	maxStructFields  = 14
	maxMethods       = 19
	maxPackageFiles  = 9
	maxPackageLines  = 1999
	maxImportChain   = 5
	module           = "warren"
	fileAVerbPackage = "cmd/warren" // has a file a verb, however many verbs
)

// longStructs may have more fields: the design wants every constant of path finding in one place.
var longStructs = []string{"nat/path.Constants"}

// forbiddenNames say nothing of what a package is.
var forbiddenNames = []string{"util", "utils", "common", "types", "helpers", "misc"}

// goPackage is what the rules need to know of a package. Tests are not counted.
type goPackage struct {
	dir         string // slash-separated, relative to the module
	name        string
	documented  bool
	files       int
	lines       int
	imports     []string // of this module, as dir
	testImports []string
	methods     map[string]int
}

// house is the parsed module.
type house struct {
	packages map[string]*goPackage // by dir
	broken   []string              // rules that are broken within a file
}

func TestHouse(t *testing.T) {
	h, err := parseHouse(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	if h.packages["keys"] == nil || h.packages[fileAVerbPackage] == nil {
		t.Fatal("this is not the module's root")
	}
	for _, violation := range h.check() {
		t.Error(violation)
	}
}

// TestHouseSeesEveryViolation holds the checks to finding what they are for.
func TestHouseSeesEveryViolation(t *testing.T) {
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	clean := "// Package p is.\npackage p\n"
	for _, test := range []struct {
		file, text, want string // want: "" if the rules are kept
	}{
		{"keys/a.go", clean, ""},
		{"mesh/link/a.go", clean + `import _ "warren/nat"`, ""},
		{"mesh/a.go", clean + `import (_ "warren/nat"; _ "warren/mesh/link")`, ""},
		{"cmd/lab/a.go", clean + `import _ "warren/nat/netlab"`, ""},
		{"keys/a.go", clean + `import _ "warren/nat"`, "keys imports nat"},
		{"nat/a.go", clean + `import _ "warren/tun"`, "nat imports tun"},
		{"tun/a.go", clean + `import _ "warren/nat/path"`, "tun imports nat/path"},
		{"nat/path/a.go", clean + `import _ "warren/mesh/clock"`, "nat/path imports mesh/clock"},
		{"mesh/link/a.go", clean + `import _ "warren/mesh"`, "mesh/link imports mesh"},
		{"mesh/a.go", clean + `import _ "warren/cmd/lab"`, "mesh imports cmd/lab"},
		{"tun/a_test.go", "package p\n" + `import _ "warren/mesh"`, "tun imports mesh"},
		{"other/a.go", clean, "other is in no known folder"},
		{"mesh/util/a.go", "// Package util is.\npackage util\n", "a package named util"},
		{"keys/a.go", "package p\n", "has no package comment"},
		{"keys/a.go", clean + "func F() {}\n", "F is not documented"},
		{"keys/a.go", clean + "type T int\n", "T is not documented"},
		{"keys/a.go", clean + "const (\n\tC = 1\n)\n", "C is not documented"},
		{"keys/a.go", clean + "// T is.\ntype T int\nfunc (t *T) M() {}\n", "T.M is not documented"},
		{"keys/a.go", clean + "// T is.\ntype T[K any] int\nfunc (t *T[K]) M() {}\n", "T.M is not documented"},
		{"keys/a.go", clean + "// Cs are.\nconst (\n\tC = 1\n)\nconst c = 1\ntype t int\nfunc (t) M() {}\n", ""},
		{"keys/a.go", clean + "func init() {}\n", "init()"},
		{"keys/a.go", clean + many(maxFileLines-1, "// %d\n"), "a.go has 501 lines"},
		{"keys/a.go", clean + many(maxFileLines-2, "// %d\n"), ""},
		{"keys/a.go", clean + "func f() {\n" + many(maxFuncLines-1, "\t_ = %d\n") + "}\n", "f has 101 lines"},
		{"keys/a.go", clean + "func f() {\n" + many(maxFuncLines-2, "\t_ = %d\n") + "}\n", ""},
		{"keys/a.go", clean + "type t struct {\n" + many(maxStructFields+1, "\tf%d int\n") + "}\n", "t has 15 fields"},
		{"keys/a.go", clean + "type t struct {\n" + many(maxStructFields, "\tf%d int\n") + "}\n", ""},
		{"keys/a.go", clean + "type t int\n" + many(maxMethods+1, "func (t) m%d() {}\n"), "t has 20 methods"},
		{"keys/a.go", clean + "type t int\n" + many(maxMethods, "func (t) m%d() {}\n"), ""},
	} {
		h, err := parseHouse(fstest.MapFS{test.file: {Data: []byte(test.text)}})
		if err != nil {
			t.Fatalf("%s: %v", test.want, err)
		}
		got := strings.Join(h.check(), "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s with\n%.200s\ngot %q, want %q", test.file, test.text, got, test.want)
		}
	}
}

// TestHouseSeesSizesOfPackages is the same for rules about several files.
func TestHouseSeesSizesOfPackages(t *testing.T) {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	files, lines, verbs, chain := fstest.MapFS{}, fstest.MapFS{}, fstest.MapFS{}, fstest.MapFS{}
	for i := range maxPackageFiles + 1 {
		files[fmt.Sprintf("keys/f%d.go", i)] = text("// Package p is.\npackage p\n")
		verbs[fmt.Sprintf("%s/f%d.go", fileAVerbPackage, i)] = text("// Package p is.\npackage p\n")
	}
	for i := range 5 {
		lines[fmt.Sprintf("keys/f%d.go", i)] = text("// Package p is.\npackage p\n" + strings.Repeat("\n", 398))
	}
	for i := range maxImportChain + 2 {
		chain[fmt.Sprintf("keys/p%d/a.go", i)] = text(fmt.Sprintf("// Package p is.\npackage p\nimport _ \"warren/keys/p%d\"\n", i+1))
	}
	for _, test := range []struct {
		name string
		fsys fstest.MapFS
		want string
	}{
		{"files", files, "keys has 10 files"},
		{"verbs", verbs, ""},
		{"lines", lines, "keys has 2000 lines"},
		{"chain", chain, "keys/p0 -> keys/p1 -> keys/p2 -> keys/p3 -> keys/p4 -> keys/p5 -> keys/p6"},
	} {
		h, err := parseHouse(test.fsys)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(h.check(), "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// parseHouse parses every Go file of a module.
func parseHouse(fsys fs.FS) (*house, error) {
	h := &house{packages: make(map[string]*goPackage)}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		h.add(name, bytes.Count(src, []byte("\n")), fset, f)
		return nil
	})
	return h, err
}

// add takes a file into its package and checks what can be said of it alone.
func (h *house) add(name string, lines int, fset *token.FileSet, f *ast.File) {
	dir := path.Dir(name)
	p := h.packages[dir]
	if p == nil {
		p = &goPackage{dir: dir, methods: make(map[string]int)}
		h.packages[dir] = p
	}
	for _, spec := range f.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		rest, ours := strings.CutPrefix(target, module+"/")
		switch {
		case err != nil || !ours:
		case strings.HasSuffix(name, "_test.go"):
			p.testImports = append(p.testImports, rest)
		default:
			p.imports = append(p.imports, rest)
		}
	}
	if strings.HasSuffix(name, "_test.go") {
		return
	}
	p.name = f.Name.Name
	p.documented = p.documented || f.Doc != nil
	p.files++
	p.lines += lines
	if lines > maxFileLines {
		h.report("%s has %d lines, the limit is %d", name, lines, maxFileLines)
	}
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			h.function(p, name, fset, decl)
		case *ast.GenDecl:
			h.declaration(p, name, decl)
		}
	}
}

func (h *house) function(p *goPackage, file string, fset *token.FileSet, f *ast.FuncDecl) {
	name, exported := f.Name.Name, f.Name.IsExported()
	if f.Recv != nil {
		t := receiver(f.Recv.List[0].Type)
		p.methods[t]++
		name, exported = t+"."+name, exported && ast.IsExported(t)
	} else if name == "init" {
		h.report("%s: init() runs before anybody asked for it", file)
	}
	if lines := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1; lines > maxFuncLines {
		h.report("%s: %s has %d lines, the limit is %d", file, name, lines, maxFuncLines)
	}
	if exported && f.Doc == nil && p.name != "main" {
		h.report("%s: %s is not documented", file, name)
	}
}

func (h *house) declaration(p *goPackage, file string, decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		var names []*ast.Ident
		documented := decl.Doc != nil
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			names = []*ast.Ident{spec.Name}
			documented = documented || spec.Doc != nil
			if s, ok := spec.Type.(*ast.StructType); ok && s.Fields.NumFields() > maxStructFields &&
				!slices.Contains(longStructs, p.dir+"."+spec.Name.Name) {
				h.report("%s: %s has %d fields, the limit is %d", file, spec.Name, s.Fields.NumFields(), maxStructFields)
			}
		case *ast.ValueSpec:
			names = spec.Names
			documented = documented || spec.Doc != nil || spec.Comment != nil
		}
		for _, name := range names {
			if name.IsExported() && !documented && p.name != "main" {
				h.report("%s: %s is not documented", file, name)
			}
		}
	}
}

// receiver returns the name of a receiver's type.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

func (h *house) report(format string, args ...any) {
	h.broken = append(h.broken, fmt.Sprintf(format, args...))
}

// check returns all rules that are broken.
func (h *house) check() []string {
	for _, dir := range slices.Sorted(maps.Keys(h.packages)) {
		p := h.packages[dir]
		h.arrows(p)
		if p.files == 0 {
			continue // tests only
		}
		if slices.Contains(forbiddenNames, p.name) {
			h.report("%s: a package named %s says nothing", dir, p.name)
		}
		if !p.documented {
			h.report("%s has no package comment", dir)
		}
		if p.files > maxPackageFiles && dir != fileAVerbPackage {
			h.report("%s has %d files, the limit is %d", dir, p.files, maxPackageFiles)
		}
		if p.lines > maxPackageLines {
			h.report("%s has %d lines, the limit is %d", dir, p.lines, maxPackageLines)
		}
		for _, t := range slices.Sorted(maps.Keys(p.methods)) {
			if p.methods[t] > maxMethods {
				h.report("%s: %s has %d methods, the limit is %d", dir, t, p.methods[t], maxMethods)
			}
		}
		if chain := h.longestChain(dir); len(chain)-1 > maxImportChain {
			h.report("a chain of more than %d imports: %s", maxImportChain, strings.Join(chain, " -> "))
		}
	}
	return h.broken
}

// arrows checks the imports of a package: cmd -> mesh -> {mesh/*, nat, tun} -> keys, where arrows may skip a level.
func (h *house) arrows(p *goPackage) {
	if layer(p.dir) == "" {
		h.report("%s is in no known folder", p.dir)
		return
	}
	for _, to := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.imports, p.testImports)))) {
		if !mayImport(layer(p.dir), layer(to)) && to != p.dir {
			h.report("%s imports %s", p.dir, to)
		}
	}
}

// layer is the first folder of a package; the engine itself is told from what stands below it.
func layer(dir string) string {
	top, _, below := strings.Cut(dir, "/")
	switch {
	case top == "mesh" && below:
		return "mesh/*"
	case slices.Contains([]string{"cmd", "mesh", "nat", "tun", "keys"}, top):
		return top
	}
	return ""
}

func mayImport(from, to string) bool {
	allowed := map[string][]string{
		"cmd":    {"mesh", "mesh/*", "nat", "tun", "keys"},
		"mesh":   {"mesh/*", "nat", "tun", "keys"},
		"mesh/*": {"mesh/*", "nat", "tun", "keys"},
		"nat":    {"nat", "keys"},
		"tun":    {"tun", "keys"},
		"keys":   {"keys"},
	}
	return slices.Contains(allowed[from], to)
}

// longestChain returns the longest way along imports that begins at a package.
func (h *house) longestChain(dir string) []string {
	var longest []string
	if p := h.packages[dir]; p != nil {
		for _, to := range p.imports {
			if c := h.longestChain(to); len(c) > len(longest) {
				longest = c
			}
		}
	}
	return append([]string{dir}, longest...)
}
