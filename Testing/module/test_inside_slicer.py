"""Run by CTest inside Slicer: what cannot be done is said in words, and the scene stays as it was.

Outside Slicer the same lines run on the host, so that they cannot rot.
"""

from __future__ import annotations

import unittest

import slicer


class BiplanarBoneReconSceneTest(unittest.TestCase):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def test_problems_leave_the_scene_as_it_was(self) -> None:
        from BiplanarBoneRecon import BiplanarBoneReconLogic, Problem

        before = slicer.mrmlScene.GetNumberOfNodes()
        with self.assertRaisesRegex(Problem, "Choose the AP radiograph"):
            BiplanarBoneReconLogic().reconstruct(None, None)
        with self.assertRaisesRegex(Problem, "does not exist"):
            BiplanarBoneReconLogic().loadRadiograph("no such file.dcm", "ap")
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
