"""BNG Blaster's controller: instances of bngblaster, started, stopped and asked over HTTP."""
