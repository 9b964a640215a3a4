"""Pictures, films and labelled data in; landmarks or scalars with their densities out."""

__all__: list[str] = []
