// Sunflower seeds on a globe, over still water at dusk. Needs no include files.
#version 3.7;
global_settings { assumed_gamma 1.0 max_trace_level 8 }

camera { location <0, 2.3, -12> right x * image_width / image_height angle 42 look_at <0, 1.55, 0> }

light_source { <-14, 16, -15> rgb <1.25, 1.12, 0.95> }
light_source { <12, 6, -3> rgb <0.20, 0.26, 0.46> shadowless }

sky_sphere {
  pigment {
    gradient y
    color_map {
      [0.00 rgb <1.00, 0.55, 0.26>]
      [0.06 rgb <0.86, 0.36, 0.30>]
      [0.18 rgb <0.38, 0.20, 0.38>]
      [0.45 rgb <0.06, 0.07, 0.20>]
      [1.00 rgb <0.01, 0.01, 0.04>]
    }
  }
}

plane {
  y, 0
  pigment { rgb <0.01, 0.015, 0.03> }
  normal { bumps 0.03 scale <1.6, 1, 0.5> }
  finish { ambient 0 diffuse 0.3 specular 0.25 roughness 0.01 reflection { 0.15, 0.85 fresnel on } conserve_energy }
  interior { ior 1.33 }
}

#declare Seeds = 420;
#declare GoldenAngle = pi * (3 - sqrt(5));
#for (Seed, 0, Seeds - 1)
  #declare Height = 1 - 2 * (Seed + 0.5) / Seeds;
  #declare Turn = GoldenAngle * Seed;
  #declare Hue = 2 * pi * (0.04 + 0.31 * (1 - Height));
  sphere {
    <sqrt(1 - Height * Height) * cos(Turn), Height, sqrt(1 - Height * Height) * sin(Turn)> * 2 + y * 1.75, 0.155
    pigment { rgb <0.50 + 0.48 * cos(Hue), 0.40 + 0.38 * cos(Hue - 2.1), 0.44 + 0.42 * cos(Hue - 4.2)> }
    finish { ambient 0.03 diffuse 0.65 specular 0.8 roughness 0.01 reflection { 0.05, 0.4 } }
  }
#end
