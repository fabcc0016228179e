-- Makes the pods of the revision that the spec asks for anew, as a rollout.
local rollout = {}
if obj.status ~= nil and obj.status.rollout ~= nil then
  rollout = obj.status.rollout
end
local asked = rollout.candidate or rollout.stable
if asked == nil or rollout.state == "Returning" then
  error("there is no revision to restart now", 0)
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["microservice.dev/restart"] = asked
return obj
