"""Study modules: what a study may ask for beside composition and potency, one file each."""
