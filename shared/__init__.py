"""What every party uses: pure statistics, the atlas, and the runtime. Imports nothing above."""
