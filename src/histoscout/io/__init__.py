"""Reading and writing of plain files, below all formats of slides and annotations.

- `files`: atomic writing, text encodings, checksums.
- `names`: names of slides and ids of patients, and when two of them are the same.
- `tables`: CSV tables, as written here and as spreadsheets save them.
- `tiff`: limits for TIFF files that may be damaged, and decoding by libtiff.
- `notes`: notes for the user, collected over objects or slides.
"""
