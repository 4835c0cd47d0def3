package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/imasign/imasign-build/pkg/tarball"
)

// dockerImages reads docker's manifest.json: a list of images, each with the files of
// its config and its layers.
func (l *Layout) dockerImages() ([]object, error) {
	text, err := l.text("manifest.json")
	if err != nil {
		return nil, asFormat(err)
	}
	if err := checkJSON(text); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		return nil, fmt.Errorf("%w: manifest.json is not docker's list of images (skopeo copy dir:… oci:… makes a layout of what skopeo's dir: is)", ErrFormat)
	}
	images, err := object{"": text}.objects("", dockerKeys)
	if err != nil {
		return nil, fmt.Errorf("manifest.json, which is not docker's list of images: %w", err)
	}
	return images, nil
}

// dockerManifest goes through the images of a docker-archive and returns the new
// manifest.json.
func (w *walk) dockerManifest() ([]byte, error) {
	images, err := w.dockerImages()
	if err != nil {
		return nil, err
	}
	for _, o := range images {
		if err := w.dockerImage(o); err != nil {
			return nil, err
		}
	}
	return json.Marshal(images)
}

func (w *walk) dockerImage(o object) error {
	var config string
	var names []string
	if err := firstError(o.get("Config", &config), o.get("Layers", &names)); err != nil {
		return err
	}
	met := make([]*layer, len(names))
	for i, name := range names {
		var err error
		if met[i], err = w.dockerLayer(name); err != nil {
			return fmt.Errorf("layer %s: %w", name, err)
		}
		names[i] = w.calledNow(name)
	}
	if err := w.dockerConfig(config, met); err != nil {
		return fmt.Errorf("config %s: %w", config, err)
	}
	if w.out == nil {
		return nil
	}
	return firstError(o.set("Config", w.calledNow(config)), o.set("Layers", names), w.layerSources(o, met))
}

// surveyDocker looks at the layers that docker's manifest.json lists.
func (w *walk) surveyDocker() error {
	images, err := w.dockerImages()
	if err != nil {
		return err
	}
	for _, o := range images {
		var names []string
		if err := o.get("Layers", &names); err != nil {
			return err
		}
		for _, name := range names {
			if err := w.placeDocker(name); err != nil {
				return fmt.Errorf("layer %s: %w", name, err)
			}
		}
	}
	return nil
}

func (w *walk) placeDocker(name string) error {
	i, err := w.resolve(path.Clean(name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if w.placed[i.name] {
		return nil
	}
	b, err := w.open(i.name)
	if err != nil {
		return err
	}
	isTar, err := tarball.IsArchive(b)
	if err == nil && !isTar {
		err = fmt.Errorf("%w: it is no tar archive", ErrUnsupported)
	}
	_ = b.Close() // opened for reading
	w.place(i.name, nil)
	return err
}

func (w *walk) dockerLayer(name string) (*layer, error) {
	i, err := w.resolve(path.Clean(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return w.met(i.name)
}

// calledNow returns the name of a file in the output. A link keeps its name.
func (w *walk) calledNow(name string) string {
	if now, there := w.replaced[path.Clean(name)]; there {
		return now
	}
	return name
}

func (w *walk) dockerConfig(name string, met []*layer) error {
	i, err := w.resolve(path.Clean(name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	ids, err := w.idsIn(i.name)
	if err != nil {
		return err
	}
	if noIDs := sumIDs(nil); ids == nil {
		ids = &noIDs
	}
	if err := ids.check(met); err != nil {
		return err
	}
	_, err = w.config(i.name, met)
	return err
}

// layerSources updates docker's LayerSources, which has a descriptor for each diff id.
func (w *walk) layerSources(o object, met []*layer) error {
	if o["LayerSources"] == nil {
		return nil
	}
	var sources map[string]json.RawMessage
	if err := o.get("LayerSources", &sources); err != nil {
		return err
	}
	for _, l := range met {
		text, there := sources[string(l.was.diffID)]
		if !there || !l.isChanged {
			continue
		}
		part, err := asObject(text, descriptorKeys)
		if err != nil {
			return err
		}
		d, err := parseDescriptor(part)
		if err != nil {
			return err
		}
		delete(sources, string(l.was.diffID))
		if d.digest != l.was.digest { // the blob is elsewhere
			continue
		}
		if err := w.point(&d, l.was, l.now); err != nil {
			return err
		}
		if sources[string(l.now.diffID)], err = json.Marshal(d.object); err != nil {
			return err
		}
	}
	return o.set("LayerSources", sources)
}

// ArchiveKind returns what kind of image archive it is: of an OCI image layout, as saved
// by docker or podman, or of skopeo's dir:. It returns "" for any other archive.
func ArchiveKind(a *tarball.Archive) string {
	switch manifest := a.Top("manifest.json"); {
	case a.Top("oci-layout") != nil:
		return "oci-archive"
	case manifest != nil:
		return manifestKind(manifest)
	case a.Top("repositories") != nil:
		return savedKind(a.Top("repositories"))
	}
	return ""
}

type sized interface {
	ReadAt(b []byte, offset int64) (int, error)
	Size() int64
}

func readSection(s sized) []byte {
	if s.Size() > maxDocument {
		return nil
	}
	text := make([]byte, s.Size())
	n, _ := s.ReadAt(text, 0)
	return text[:n]
}

// manifestKind recognises the kind by manifest.json. It ignores case, so that everything
// that might be an image counts as one.
func manifestKind(s sized) string {
	var images []map[string]any
	var manifest map[string]any
	text := readSection(s)
	if json.Unmarshal(text, &images) == nil && len(images) > 0 && (hasKey(images[0], "layers") || hasKey(images[0], "config")) {
		return "docker-archive"
	}
	if json.Unmarshal(text, &manifest) == nil && (hasKey(manifest, "layers") || hasKey(manifest, "manifests") || hasKey(manifest, "fsLayers")) {
		return "archive of skopeo's dir:"
	}
	return ""
}

func hasKey(o map[string]any, name string) bool {
	for key := range o {
		if strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

// savedKind recognises the file "repositories" of docker before 1.10, which has tags with
// the ids of layers. Other files may have the same name.
func savedKind(s sized) string {
	var tags map[string]map[string]string
	if json.Unmarshal(readSection(s), &tags) == nil && len(tags) > 0 {
		return "docker-archive"
	}
	return ""
}
