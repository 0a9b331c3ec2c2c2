"""Figures of the chapter *Mechanism*."""
