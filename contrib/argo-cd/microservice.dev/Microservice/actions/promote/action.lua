-- Ends what the present step waits for: its time, a person, or a weight that its pods can only give coarsely.
local rollout = {}
if obj.status ~= nil and obj.status.rollout ~= nil then
  rollout = obj.status.rollout
end
if rollout.promote == nil then
  error("there is no step to promote", 0)
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["microservice.dev/promote"] = rollout.promote
return obj
