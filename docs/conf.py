"""Settings of the documentation: `make docs` builds it into docs/_build/html."""

from kdn import __version__

project = "kdn"
author = "The kdn authors"
project_copyright = "The kdn authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"kdn {version}"

# Anchors of headings are GitHub's, so that links work there and here.
myst_heading_anchors = 3

# Docstrings write code in single backticks.
default_role = "literal"
autodoc_member_order = "bysource"
# Shapes are strings to Python; evaluated they would say less than they do in the source.
autodoc_typehints = "none"
napoleon_use_rtype = False
