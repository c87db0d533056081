"""HTML reports on checks, evaluations and cross-validations, each in one file.

- `check`: the page of a cohort check.
- `evaluation`: the report of an evaluation on slides.
- `images`: the report of image classification.
- `crossval`: the report of a cross-validation.
- `blocks`: what pages are made of: tables, pictures, lists, verdicts.
- `page`: rendering of a page to HTML, with templates/.
- `plots`: curves, bars and confusion matrices as SVG.
- `svg`: the style of plots, and their embedding in a page.
- `formatting`: numbers, confidence intervals, plurals and units as text.
"""
