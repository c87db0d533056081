"""Planning: a recipe for a cohort and a machine, with the reason for each choice. Nothing is trained.

- `plan`: the plan, and its TOML file.
- `fingerprint`: the cohort and the machine in numbers.
- `classes`: the role of each annotated class.
- `rules`: from the fingerprint to the choices, for slides with annotations.
- `images`: the same for image classification data.
"""
