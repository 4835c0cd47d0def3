package bench

import (
	"fmt"
	"math"
	"strings"
)

type (
	point struct{ x, y float64 }
	line  []point
	// A panel is a chart of lines over numbers of files.
	panel struct {
		title string
		names []string // of the lines
		lines []line
	}
)

// Sizes in pixels.
const (
	plotWidth, plotHeight = 280.0, 200.0
	left, top, pitch      = 48.0, 52.0, 400.0
)

const style = `<style>
text{font:12px sans-serif;fill:#24292f}
.title{font-weight:bold}
.y{text-anchor:end}.x{text-anchor:middle}
.axis{stroke:#57606a}.grid{stroke:#d0d7de}
path{fill:none;stroke-width:2}
.l0{stroke:#0969da}.l1{stroke:#bc4c00;stroke-dasharray:7 4}.l2{stroke:#1a7f37;stroke-dasharray:2 4}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}.axis{stroke:#8d96a0}.grid{stroke:#30363d}
.l0{stroke:#58a6ff}.l1{stroke:#f0883e}.l2{stroke:#3fb950}
}
</style>
`

// svg draws panels side by side. The background is transparent; the colours follow the
// reader's preference for light or dark, and the dashes tell the lines apart without colours.
func svg(panels ...panel) string {
	var b strings.Builder
	width, height := pitch*float64(len(panels)), top+plotHeight+46
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img">`+"\n", width, height, width, height)
	b.WriteString("<title>Time and peak memory by number of files</title>\n" + style)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%g %g)">`+"\n", left+pitch*float64(i), top)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	return b.String() + "</svg>\n"
}

func (p panel) draw(b *strings.Builder) {
	var most point
	for _, l := range p.lines {
		for _, q := range l {
			most = point{max(most.x, q.x), max(most.y, q.y)}
		}
	}
	xs, ys := ticks(most.x), ticks(most.y)
	x := func(v float64) float64 { return v / xs[len(xs)-1] * plotWidth }
	y := func(v float64) float64 { return plotHeight - v/ys[len(ys)-1]*plotHeight }
	fmt.Fprintf(b, `<text class="title" x="0" y="-32">%s</text>`+"\n", p.title)
	for _, v := range ys {
		fmt.Fprintf(b, `<line class="grid" x1="0" x2="%g" y1="%.1f" y2="%.1f"/><text class="y" x="-6" y="%.1f">%g</text>`+"\n", plotWidth, y(v), y(v), y(v)+4, v)
	}
	for _, v := range xs {
		fmt.Fprintf(b, `<text class="x" x="%.1f" y="%g">%s</text>`+"\n", x(v), plotHeight+18, thousands(int(v)))
	}
	fmt.Fprintf(b, `<line class="axis" x1="0" x2="%g" y1="%g" y2="%g"/><text class="x" x="%g" y="%g">files</text>`+"\n", plotWidth, plotHeight, plotHeight, plotWidth/2, plotHeight+36)
	for i, l := range p.lines {
		fmt.Fprintf(b, `<path class="l%d" d="M%g -14h24"/><text x="%g" y="-10">%s</text>`+"\n", i, float64(i)*118, float64(i)*118+28, p.names[i])
		var d strings.Builder
		for j, q := range l {
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(j, 1)], x(q.x), y(q.y))
		}
		fmt.Fprintf(b, `<path class="l%d" d="%s"/>`+"\n", i, d.String())
	}
}

// ticks returns at most six round numbers from 0 to at least v, which is not 0.
func ticks(v float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10(v/5)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*step*5 >= v {
			step *= m
			break
		}
	}
	var at []float64
	for i := 0.0; ; i++ {
		at = append(at, i*step)
		if i*step >= v {
			return at
		}
	}
}
