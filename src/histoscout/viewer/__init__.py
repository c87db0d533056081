"""The viewer: a local server and a page that show slides, heatmaps and regions, and record what readers do.

- `library`: the slides that are shown, and where their results lie.
- `tiles`: tiles of a slide as JPEG, with a bounded cache; slides that are open.
- `layers`: heatmaps in color, regions at any threshold, reference annotations, tissue.
- `strokes`: what a brush, an eraser or a cut makes of an outline.
- `security`: token, host and origin of requests, their size, and what the page may load.
- `app`: the routes of the server.
- `serve`: starts and stops the server.

The page itself is written in TypeScript (folder `viewer/` of the source) and built into `page/`.
"""
