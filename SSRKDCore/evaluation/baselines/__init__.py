"""Methods that SSR-KD is compared with, each trained and run on the same cases."""
